//! What a step says to the runner: lines on its output, and files it writes.
