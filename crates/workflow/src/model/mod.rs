//! Workflow and action files: text in, jobs and steps with their places out, and what would not be honoured.
