//! The built-in actions in a box, each by what it promises.
