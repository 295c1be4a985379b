"""`vp serve`: published signals as a WebSocket stream, and a page that shows them."""
