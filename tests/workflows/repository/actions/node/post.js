if (process.env.STATE_kept !== 'from main') process.exit(1);
console.log(`post of ${process.env['INPUT_SOME_INPUT']}`);
