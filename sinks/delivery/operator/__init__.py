"""What operators do to deliveries: list, show, resolve and redrive them."""
