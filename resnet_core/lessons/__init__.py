"""The lesson: one network on one page, its picture and its programs side by side."""
