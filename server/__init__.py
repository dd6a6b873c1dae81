"""The server side: Flower's ServerApp, simulation, and the ``lunaria`` command line."""
