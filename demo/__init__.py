"""A company's day, played with real parts: the server, a worker, and devices that are processes of their own."""
