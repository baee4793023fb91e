"""The roof of the house: the `truckroll` command. It may import every room; no room imports it."""
