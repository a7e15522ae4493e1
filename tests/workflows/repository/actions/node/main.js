const fs = require('fs');
if (process.env.INPUT_OTHER !== 'push') throw new Error('the default is not there');
fs.appendFileSync(process.env.GITHUB_OUTPUT, `seen=${process.env['INPUT_SOME_INPUT']}\n`);
fs.appendFileSync(process.env.GITHUB_STATE, 'kept=from main\n');
