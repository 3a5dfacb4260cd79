"""The only server code that knows the engine, Flower."""
