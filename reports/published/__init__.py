"""What papers print, and how it compares with what was measured here."""
