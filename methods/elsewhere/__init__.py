"""Rows that were made elsewhere: networks that their authors distilled, with their samplers, and the exact solution."""
