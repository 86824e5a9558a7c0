"""The real-time stream beside Socket.IO's own server."""
