"""What a result says of itself: metadata tags, a signed C2PA manifest, and how to check them."""
