"""The domain: jobs, runs, rounds, devices, and everything that may change them."""
