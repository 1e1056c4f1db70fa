"""What `fewstep check` checks, a file per kind of thing: properties that a leaderboard relies on."""
