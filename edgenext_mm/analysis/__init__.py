"""What the tools measure, count and summarize."""
