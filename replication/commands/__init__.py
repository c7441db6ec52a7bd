"""What can be typed (`python -m replication`), and the build of the book. Imports every other room; none imports it."""
