"""What the column `budget` says of rows that have none. No pandas."""

ELSEWHERE = ("-", "elsewhere")
"""Of a row that was made elsewhere: in a suite, and by `fewstep evaluate` where none is named."""
