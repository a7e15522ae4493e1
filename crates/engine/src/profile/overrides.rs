//! What the command line changes of a profile. Owns finding the profile and the order in which the two count.

use std::collections::BTreeMap;

use gantry_adapters::engine::{BoxUser, Network};
use serde::{Deserialize, Serialize};

use super::parse::{EngineName, Profile, bytes, cpu_millis, one_of, read_place};
use crate::config_text::nearest;

/// What is said besides a profile; `None` leaves it as the profile has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// Which engine.
    pub engine: Option<String>,
    /// Which image.
    pub image: Option<String>,
    /// `box` or `root`.
    pub user: Option<String>,
    /// `none`, `full`, or places as `host:port`.
    pub network: Vec<String>,
    /// Memory as a size.
    pub memory: Option<String>,
    /// Cores.
    pub cpus: Option<f64>,
    /// Processes.
    pub processes: Option<u64>,
    /// Disk as a size.
    pub disk: Option<String>,
    /// What the box writes is kept in memory.
    pub in_memory: bool,
    /// Further variables.
    pub env: Vec<(String, String)>,
}

impl Profile {
    /// Finds a profile by name: the factory's first, then the repository's; no name is the one called `default`, or the
    /// plain one.
    ///
    /// Errors: a sentence with the nearest name.
    pub fn find(
        name: Option<&str>,
        factory: &BTreeMap<String, Self>,
        repository: &BTreeMap<String, Self>,
    ) -> Result<Self, String> {
        let wanted = name.unwrap_or("default");
        if let Some(found) = factory.get(wanted).or_else(|| repository.get(wanted)) {
            return Ok(found.clone());
        }
        if name.is_none() || wanted == "default" {
            return Ok(Self::plain());
        }
        let names: Vec<&str> = factory
            .keys()
            .chain(repository.keys())
            .map(String::as_str)
            .collect();
        let near = nearest(wanted, &names).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        Err(format!("there is no profile {wanted:?}{near}"))
    }

    /// Returns this profile with what the command line says.
    ///
    /// Errors: a sentence that names the value and the mend.
    pub fn overridden(mut self, over: &Overrides) -> Result<Self, String> {
        if let Some(word) = &over.engine {
            self.engine = one_of("engine", word, &EngineName::ALL)?;
        }
        if let Some(image) = &over.image {
            self.image.clone_from(image);
        }
        if let Some(word) = &over.user {
            self.user = one_of("user", word, &[("box", BoxUser::Plain), ("root", BoxUser::Root)])?;
        }
        match over.network.as_slice() {
            [] => {}
            [word] if word == "none" => self.network = Network::None,
            [word] if word == "full" => self.network = Network::Full,
            places => {
                let places = places.iter().map(|place| read_place(place));
                self.network = Network::Allow(places.collect::<Result<_, _>>()?);
            }
        }
        if over.memory.is_some() {
            self.limits.memory_bytes = bytes("memory", over.memory.clone())?;
        }
        if let Some(cpus) = over.cpus {
            self.limits.cpu_millis = Some(cpu_millis(cpus)?);
        }
        if over.processes.is_some() {
            self.limits.processes = over.processes;
        }
        if over.disk.is_some() {
            self.limits.disk_bytes = bytes("disk", over.disk.clone())?;
        }
        self.limits.in_memory |= over.in_memory;
        self.env.extend(over.env.iter().cloned());
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, image: &str) -> BTreeMap<String, Profile> {
        let profile = Profile {
            name: name.into(),
            image: image.into(),
            ..Profile::plain()
        };
        BTreeMap::from([(name.to_owned(), profile)])
    }

    #[test]
    fn the_factorys_profile_counts_before_the_repositorys() {
        let (factory, repository) = (named("ci", "factory"), named("ci", "repository"));
        let image =
            |name, factory: &_, repository: &_| Profile::find(name, factory, repository).map(|p| p.image);
        assert_eq!(image(Some("ci"), &factory, &repository).as_deref(), Ok("factory"));
        assert_eq!(
            image(Some("ci"), &BTreeMap::new(), &repository).as_deref(),
            Ok("repository")
        );
        assert_eq!(image(None, &factory, &repository).as_deref(), Ok("host"));
        assert_eq!(
            image(Some("cii"), &factory, &repository),
            Err("there is no profile \"cii\"; did you mean \"ci\"?".to_owned())
        );
    }

    #[test]
    fn the_command_line_counts_before_the_profile() {
        let over = Overrides {
            network: vec!["github.com:443".into()],
            memory: Some("1GiB".into()),
            env: vec![("A".into(), "2".into())],
            ..Overrides::default()
        };
        let profile = Profile::plain().overridden(&over).expect("it can be");
        assert!(matches!(profile.network, Network::Allow(places) if places.len() == 1));
        assert_eq!(profile.limits.memory_bytes, Some(1 << 30));
        assert_eq!(profile.env, [("A".to_owned(), "2".to_owned())]);
        let bad = Overrides {
            memory: Some("lots".into()),
            ..Overrides::default()
        };
        assert!(Profile::plain().overridden(&bad).is_err());
    }
}
