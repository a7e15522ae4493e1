//! The thirty changes that agents offer in the demo. Data only; what becomes of each is decided by Git, its tests
//! and gantry.

use super::story::Cut::{Early, Late};
use super::story::Edit::{Replace, Write};
use super::story::{Commit, Cut, Offer, commit};

const WORDS_BEFORE: &str = include_str!("program/src/words.c");

/// The changes, in the order in which they are offered.
pub const OFFERS: &[Offer] = &[
    // Eight that were cut early and edit what main edited since.
    offer(
        "rotted",
        "agent/mean-long",
        Early,
        commit(
            "agent-1",
            "Divide the mean as long double",
            &[Replace(
                "src/mean.c",
                "total / count",
                "(double)((long double)total / count)",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/mean-digits",
        Early,
        commit(
            "agent-2",
            "Print the mean with fewer digits",
            &[Replace(
                "src/mean.c",
                "printf(\"%.10g\\n\", total / count)",
                "printf(\"%.6g\\n\", total / count)",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/mean-empty",
        Early,
        commit(
            "agent-3",
            "Refuse the mean of nothing",
            &[Replace(
                "src/mean.c",
                "    printf(\"%.10g\\n\", total / count);",
                "    if (!count) {\n        return 1;\n    }\n    printf(\"%.10g\\n\", total / count);",
            )],
        ),
    ),
    offer(
        "good",
        "agent/test-gcd",
        Early,
        commit(
            "agent-4",
            "Test divisors of negative numbers",
            &[Write(
                "tests/gcd_negative.sh",
                "[ \"$(\"$1\" gcd -48 36)\" = 12 ]\n",
            )],
        ),
    ),
    // Three that edit one line of the sum.
    offer(
        "conflicts with others",
        "agent/sum-long",
        Early,
        commit(
            "agent-1",
            "Add up in long double",
            &[
                Replace("src/sum.c", "double total = 0;", "long double total = 0;"),
                Replace(
                    "src/sum.c",
                    "printf(\"%.10g\\n\", total);",
                    "printf(\"%.10g\\n\", (double)total);",
                ),
            ],
        ),
    ),
    offer(
        "conflicts with others",
        "agent/sum-start",
        Early,
        commit(
            "agent-5",
            "Name the start of the sum",
            &[Replace(
                "src/sum.c",
                "double total = 0;",
                "const double start = 0;\n    double total = start;",
            )],
        ),
    ),
    offer(
        "conflicts with others",
        "agent/sum-name",
        Early,
        commit(
            "agent-6",
            "Call the sum a sum",
            &[
                Replace("src/sum.c", "double total = 0;", "double result = 0;"),
                Replace("src/sum.c", "total += numbers[i];", "result += numbers[i];"),
                Replace(
                    "src/sum.c",
                    "printf(\"%.10g\\n\", total);",
                    "printf(\"%.10g\\n\", result);",
                ),
            ],
        ),
    ),
    offer(
        "broken",
        "agent/range-short",
        Early,
        commit(
            "agent-2",
            "Start the range at the first pair",
            &[Replace(
                "src/range.c",
                "size_t i = 1; i < count; i++",
                "size_t i = 2; i < count; i++",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/usage-file",
        Early,
        commit(
            "agent-3",
            "Name files in the usage line",
            &[Replace(
                "src/main.c",
                "usage: tally COMMAND\\n",
                "usage: tally COMMAND [FILE]\\n",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/usage-list",
        Early,
        commit(
            "agent-4",
            "Point to the manual in the usage line",
            &[Replace(
                "src/main.c",
                "usage: tally COMMAND\\n",
                "usage: tally COMMAND; see README.md\\n",
            )],
        ),
    ),
    offer(
        "good",
        "agent/readme",
        Early,
        commit(
            "agent-5",
            "Show a second example",
            &[Replace(
                "README.md",
                "    seq 1 10 | tally sum\n",
                "    seq 1 10 | tally sum\n    echo one two three | tally words\n",
            )],
        ),
    ),
    // Three that put a command into the same place of the table.
    offer(
        "conflicts with others",
        "agent/add-count",
        Early,
        commit(
            "agent-6",
            "Add the command count",
            &[
                Write("src/count.c", include_str!("program/later/count.c")),
                Replace(
                    "src/tally.h",
                    "int gcd(int argc, char **argv);",
                    "int count(int argc, char **argv);\nint gcd(int argc, char **argv);",
                ),
                Replace(
                    "src/main.c",
                    "    {\"words\", words},\n",
                    "    {\"words\", words},\n    {\"count\", count},\n",
                ),
                Write("tests/count.sh", "[ \"$(seq 1 7 | \"$1\" count)\" = 7 ]\n"),
            ],
        ),
    ),
    offer(
        "conflicts with others",
        "agent/add-total",
        Early,
        commit(
            "agent-1",
            "Add total as another name of sum",
            &[Replace(
                "src/main.c",
                "    {\"words\", words},\n",
                "    {\"words\", words},\n    {\"total\", sum},\n",
            )],
        ),
    ),
    offer(
        "conflicts with others",
        "agent/add-average",
        Early,
        commit(
            "agent-2",
            "Add average as another name of mean",
            &[Replace(
                "src/main.c",
                "    {\"words\", words},\n",
                "    {\"words\", words},\n    {\"average\", mean},\n",
            )],
        ),
    ),
    // Each of the two passes; together they do not compile.
    offer(
        "broken with the next",
        "agent/rename-scale",
        Early,
        commit(
            "agent-3",
            "Say what scale scales to",
            &[
                Replace("src/tally.h", "double scale(", "double scale_to_unit("),
                Replace("src/scale.c", "double scale(", "double scale_to_unit("),
                Replace("src/report.c", "scale(numbers[i]", "scale_to_unit(numbers[i]"),
            ],
        ),
    ),
    offer(
        "broken with the last",
        "agent/spread-unit",
        Early,
        commit(
            "agent-4",
            "Show the spread in parts of a hundred too",
            &[Replace(
                "src/spread.c",
                "    printf(\"%.10g\\n\", widest);",
                "    if (argc > 1) {\n        widest = scale(widest, 0, 100);\n    }\n    printf(\"%.10g\\n\", widest);",
            )],
        ),
    ),
    offer(
        "broken",
        "agent/report-colour",
        Early,
        commit(
            "agent-5",
            "Draw every second bar in another sign",
            &[Replace(
                "src/report.c",
                "putchar('#');",
                "putchar(i % 2 ? '#' : '=');",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/primes-six",
        Early,
        commit(
            "agent-6",
            "Try divisors around multiples of six",
            &[Replace(
                "src/primes.c",
                "for (long divisor = 2; divisor * divisor <= number; divisor++) {",
                "for (long divisor = 2; divisor * divisor <= number; divisor += divisor % 6 == 5 ? 2 : 1) {",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/primes-bound",
        Early,
        commit(
            "agent-1",
            "Stop at half of the number",
            &[Replace(
                "src/primes.c",
                "divisor * divisor <= number;",
                "divisor <= number / divisor;",
            )],
        ),
    ),
    offer(
        "silent revert",
        "agent/words-doc",
        Late,
        commit(
            "agent-2",
            "Say which blanks part words",
            &[
                Write("src/words.c", WORDS_BEFORE),
                Replace("README.md", "Small sums", "Small sums and counts of words"),
            ],
        ),
    ),
    // Three that edit the same loop.
    offer(
        "conflicts with others",
        "agent/sort-guard",
        Early,
        commit(
            "agent-3",
            "Compare before the loop of the sort",
            &[Replace(
                "src/sort.c",
                "size_t j = i; j > 0 && numbers[j - 1] > numbers[j]; j--",
                "size_t j = i; j != 0 && numbers[j - 1] > numbers[j]; j -= 1",
            )],
        ),
    ),
    offer(
        "conflicts with others",
        "agent/sort-swap",
        Early,
        commit(
            "agent-4",
            "Turn the comparison of the sort round",
            &[Replace(
                "src/sort.c",
                "j > 0 && numbers[j - 1] > numbers[j]; j--",
                "j > 0 && numbers[j] < numbers[j - 1]; j--",
            )],
        ),
    ),
    offer(
        "conflicts with others",
        "agent/sort-name",
        Early,
        commit(
            "agent-5",
            "Call the place of the sort a place",
            &[Replace(
                "src/sort.c",
                "size_t j = i; j > 0 && numbers[j - 1] > numbers[j]; j--",
                "size_t j = i; j >= 1 && numbers[j - 1] > numbers[j]; --j",
            )],
        ),
    ),
    offer(
        "hangs",
        "agent/gcd-subtract",
        Early,
        commit(
            "agent-6",
            "Find the divisor without dividing",
            &[Replace(
                "src/gcd.c",
                "while (b != 0) {\n        long rest = a % b;\n        a = b;\n        b = rest;\n    }",
                "while (a != b) {\n        if (a > b) {\n            a -= b;\n        } else {\n            b -= a;\n        }\n    }",
            )],
        ),
    ),
    offer(
        "good",
        "agent/test-words",
        Early,
        commit(
            "agent-1",
            "Test words of several lines",
            &[Write(
                "tests/words_lines.sh",
                "[ \"$(printf 'a b\\nc\\n' | \"$1\" words)\" = 3 ]\n",
            )],
        ),
    ),
    offer(
        "rotted",
        "agent/legacy",
        Early,
        commit(
            "agent-2",
            "Test the old spelling with negative numbers",
            &[Replace("tests/legacy.sh", "echo 1 2 3", "echo 1 2 3 4 -4")],
        ),
    ),
    offer(
        "good",
        "agent/input-limit",
        Early,
        commit(
            "agent-3",
            "Begin with room for more numbers",
            &[Replace("src/input.c", "size_t room = 16;", "size_t room = 1024;")],
        ),
    ),
    offer(
        "broken",
        "agent/digits-signs",
        Early,
        commit(
            "agent-4",
            "Let digits stop at the first sign that is none",
            &[
                Replace(
                    "src/digits.c",
                    "for (; *text; text++) {",
                    "for (; *text > '0'; text++) {",
                ),
                Write("tests/digits_zero.sh", "[ \"$(\"$1\" digits 1901)\" = 11 ]\n"),
            ],
        ),
    ),
    offer(
        "good",
        "agent/test-range",
        Early,
        commit(
            "agent-5",
            "Test the range of one number",
            &[Write(
                "tests/range_one.sh",
                "[ \"$(echo 4 | \"$1\" range)\" = \"4 4\" ]\n",
            )],
        ),
    ),
    Offer {
        low: true,
        ..offer(
            "flaky",
            "agent/test-shuffle",
            Early,
            commit(
                "agent-6",
                "Test that a shuffled input sorts, on the first try or not at all",
                &[Write(
                    "tests/shuffle.sh",
                    include_str!("program/later/shuffle.sh"),
                )],
            ),
        )
    },
];

const fn offer(nature: &'static str, branch: &'static str, cut: Cut, commit: Commit) -> Offer {
    Offer {
        branch,
        nature,
        cut,
        low: false,
        commit,
    }
}
