console.log('post ran after a failure');
