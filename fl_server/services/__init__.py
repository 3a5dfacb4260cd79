"""Every write, a module for each noun: `from fl_server.services import jobs`, then `jobs.cancel(job)`."""
