"""The REST interface: views parse, call one service, shape the answer."""
