"""The mathematics of few-step sampling and the methods that the suite compares."""
