//! Images of boxes: a store of layers in one directory, the formats they come in and go out as, recipes and the
//! builder. Must never start a process, read a clock, or open a socket outside of `registry`.

mod archive;
mod beneath;
mod bounded;
mod build;
mod collect;
mod digest;
mod drift;
mod format;
mod layer;
mod list;
mod name;
mod recipe;
mod registry;
mod scan;
mod store;

pub use archive::TarError;
pub use build::{BuildError, BuildRequest, Built, ChangedLayer, LayerPath, RunStep, StepError, StepRunner};
pub use collect::{CollectLimits, ImageUse, Pruned, Removal, RemovalReason, plan_collection};
pub use digest::{Digest, DigestError};
pub use drift::{Drift, DriftError};
pub use format::{
    ConfigDocument, ExportError, ExportFormat, Exported, History, ImportError, ImportRequest, Imported,
    RunConfig,
};
pub use layer::{CaptureError, LayerLimits, Note, NoteKind, Notes, ReassembleError, UnpackError};
pub use list::{InspectedImage, ListedImage};
pub use name::{ImageName, NameError};
pub use recipe::{
    Action, Base, CopySource, CopyStep, Devcontainer, ImageSection, Recipe, RecipeError, Stage, Step,
    parse_devcontainer, parse_dockerfile, recipe_key,
};
pub use registry::{Credentials, PullError, PullRequest, ReferenceError};
pub use scan::{Finding, ScanError};
pub use store::{
    BakedInputs, ImageLimits, ImageRecord, ImageStore, LayerRecord, Lease, Progress, StepRecord, StoreError,
    Swept,
};
