"""What the server does of its own accord, a module for each part of the business."""
