"""The pages people look at. A view parses, calls one service or selector, and shapes the answer."""
