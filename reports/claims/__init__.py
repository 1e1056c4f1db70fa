"""What papers say, re-tested: a sentence, the paired test that stands for it, and its verdict."""
