"""The addons' texts, one Markdown file each: its name, its group, its purpose, and its instructions line by line."""
