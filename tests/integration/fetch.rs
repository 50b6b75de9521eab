//! Keys over the network.

mod fake;
mod faults;
mod floods;
mod https;
mod layers;
mod limits;
mod rotation;
mod site;
