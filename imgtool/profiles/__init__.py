"""What a deployment of the platform accepts, as data."""
