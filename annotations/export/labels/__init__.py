"""What people said of plans, images and pairs, as labels from which kinds make rows."""
