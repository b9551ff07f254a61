"""Published mobile networks and the choices around them."""
