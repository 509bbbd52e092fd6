//! Ways to talk to a simulated cluster: in process as a tower service, or over HTTP/1.1.
//!
//! [`SharedCluster`] holds the cluster and its clock; [`ClusterService`] is what a Kubernetes client
//! takes in place of a connection; [`serve`] is the same for other processes, such as `kubectl`.

mod clock;
mod http;
mod service;
mod shared;
#[cfg(test)]
mod tests;

pub use self::clock::{Now, ScaledClock, VirtualClock};
pub use self::http::{Handler, Limits, ServeOptions, SimulationReply, SimulationRequest, serve};
pub use self::service::{BoxError, ClusterService, ResponseBody, ServiceError};
pub use self::shared::SharedCluster;
