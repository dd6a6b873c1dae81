"""``flower-server``: a federation run as a consortium runs it, on Flower's SuperLink, with TLS and node keys."""
