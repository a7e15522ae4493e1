//! How two commits lie in history. Owns merge bases, what is reachable from one side only, and the reading of
//! parents; must never take a missing commit for the end of history.

use std::collections::{BinaryHeap, HashMap};

use gix::ObjectId;

use super::{GitError, GitRepository};

/// Parents and dates of commits already read. A cache: dropping it costs time only.
#[derive(Debug, Default)]
pub(super) struct Ancestry {
    nodes: HashMap<ObjectId, Node>,
}

#[derive(Debug, Clone)]
struct Node {
    parents: Box<[ObjectId]>,
    seconds: i64,
}

/// Commits kept by an [`Ancestry`] before it starts anew: about 100 bytes each.
const NODES_MAX: usize = 500_000;

/// How `head` lies to the commits it was compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Relation {
    /// The best common ancestors, as Git's `merge-base --all` names them.
    pub(super) bases: Vec<ObjectId>,
    /// What only `head` reaches.
    pub(super) own: Vec<ObjectId>,
    /// How many commits only the other side reaches.
    pub(super) behind: usize,
    /// The first commit on the other side's first-parent line that `head` holds too, if there is one.
    pub(super) fork: Option<ObjectId>,
}

const HEAD: u8 = 1;
const KNOWN: u8 = 2;
const BOTH: u8 = HEAD | KNOWN;
const STALE: u8 = 4;
const RESULT: u8 = 8;

/// The walk from both sides down to what they share. Source: `paint_down_to_common` of Git's commit-reach.c.
struct Paint<'a> {
    repository: &'a GitRepository,
    ancestry: &'a mut Ancestry,
    flags: HashMap<ObjectId, u8>,
    queue: BinaryHeap<(i64, ObjectId)>,
}

impl<'a> Paint<'a> {
    fn new(
        repository: &'a GitRepository,
        ancestry: &'a mut Ancestry,
        head: ObjectId,
        known: &[ObjectId],
    ) -> Result<Self, GitError> {
        let mut paint = Self {
            repository,
            ancestry,
            flags: HashMap::new(),
            queue: BinaryHeap::new(),
        };
        paint.add(head, HEAD)?;
        for known in known {
            paint.add(*known, KNOWN)?;
        }
        Ok(paint)
    }

    fn add(&mut self, id: ObjectId, flags: u8) -> Result<(), GitError> {
        let old = self.flags.get(&id).copied().unwrap_or(0);
        if old & flags == flags {
            return Ok(());
        }
        let seconds = self.ancestry.node(self.repository, id)?.seconds;
        self.flags.insert(id, old | flags);
        self.queue.push((seconds, id));
        Ok(())
    }

    /// Tells whether something in the queue may still lead to a common ancestor.
    fn has_fresh(&self) -> bool {
        self.queue
            .iter()
            .any(|(_, id)| self.flags.get(id).is_some_and(|flags| flags & STALE == 0))
    }

    fn run(&mut self) -> Result<Vec<ObjectId>, GitError> {
        let mut results = Vec::new();
        while self.has_fresh() {
            let Some((_, id)) = self.queue.pop() else { break };
            let mut flags = self.flags.get(&id).copied().unwrap_or(0);
            if flags & (BOTH | STALE) == BOTH {
                if flags & RESULT == 0 {
                    self.flags.insert(id, flags | RESULT);
                    results.push(id);
                }
                flags |= STALE;
            }
            let parents = self.ancestry.node(self.repository, id)?.parents;
            for parent in parents {
                self.add(parent, flags & (BOTH | STALE))?;
            }
        }
        results.retain(|id| self.flags.get(id).is_some_and(|flags| flags & STALE == 0));
        Ok(results)
    }
}

impl Ancestry {
    fn node(&mut self, repository: &GitRepository, id: ObjectId) -> Result<Node, GitError> {
        if let Some(node) = self.nodes.get(&id) {
            return Ok(node.clone());
        }
        if self.nodes.len() >= NODES_MAX {
            self.nodes.clear();
        }
        let commit = repository
            .inner
            .find_commit(id)
            .map_err(|source| repository.object_trouble("commit", id, Some(source)))?;
        let seconds = commit
            .time()
            .map_err(|source| repository.object_trouble("commit", id, Some(source)))?
            .seconds;
        let cut = repository.is_shallow_at(id)?;
        let parents = if cut {
            Box::default()
        } else {
            commit.parent_ids().map(gix::Id::detach).collect()
        };
        let node = Node { parents, seconds };
        self.nodes.insert(id, node.clone());
        Ok(node)
    }

    /// Returns the first parent of a commit.
    pub(super) fn first_parent(
        &mut self,
        repository: &GitRepository,
        id: ObjectId,
    ) -> Result<Option<ObjectId>, GitError> {
        Ok(self.node(repository, id)?.parents.first().copied())
    }

    /// Compares `head` with what is reachable from any of `known`.
    ///
    /// Errors: [`GitError::Object`] if a commit that had to be looked at is missing.
    pub(super) fn relate(
        &mut self,
        repository: &GitRepository,
        head: ObjectId,
        known: &[ObjectId],
    ) -> Result<Relation, GitError> {
        let mut paint = Paint::new(repository, self, head, known)?;
        let mut bases = paint.run()?;
        let flags = paint.flags;
        let with = |wanted: u8| flags.iter().filter(move |(_, flags)| **flags & BOTH == wanted);
        let own: Vec<ObjectId> = with(HEAD).map(|(id, _)| *id).collect();
        let behind = with(KNOWN).count();
        let mut fork = known.first().copied();
        while let Some(id) = fork {
            match flags.get(&id).map(|flags| flags & BOTH) {
                Some(KNOWN) => fork = self.first_parent(repository, id)?,
                Some(BOTH) => break,
                _ => fork = None,
            }
        }
        if bases.len() > 1 {
            bases = self.without_redundant(repository, bases)?;
        }
        Ok(Relation {
            bases,
            own,
            behind,
            fork,
        })
    }

    /// Drops bases that another base reaches: clocks that ran backwards can leave such.
    fn without_redundant(
        &mut self,
        repository: &GitRepository,
        bases: Vec<ObjectId>,
    ) -> Result<Vec<ObjectId>, GitError> {
        let mut best = Vec::with_capacity(bases.len());
        for base in &bases {
            let others: Vec<ObjectId> = bases.iter().filter(|other| *other != base).copied().collect();
            let found = Paint::new(repository, self, *base, &others)?.run()?;
            if !found.contains(base) {
                best.push(*base);
            }
        }
        Ok(best)
    }
}

impl GitRepository {
    /// Tells whether history was cut off at a commit on purpose (`git clone --depth`).
    fn is_shallow_at(&self, id: ObjectId) -> Result<bool, GitError> {
        let shallow = self
            .inner
            .shallow_commits()
            .map_err(|source| self.storage("read the list of shallow commits".to_owned(), source))?;
        Ok(shallow.is_some_and(|commits| commits.contains(&id)))
    }
}
