//! Expressions: `${{ }}` text and contexts in, values out, as GitHub documents them.
