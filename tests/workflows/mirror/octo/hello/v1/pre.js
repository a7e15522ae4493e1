require('fs').appendFileSync(process.env.GITHUB_STATE, 'pre=ran\n');
