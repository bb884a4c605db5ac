//! Server reflection, so that grpcurl and its like need no proto files. Only what the API listener serves is shown. What the
//! layers before the services know of their methods comes from the same descriptors.

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use rollcall_proto::FILE_DESCRIPTOR_SET;
use tonic::service::RoutesBuilder;
use tonic_reflection::{pb, server::Builder};

/// Adds both versions of the reflection service.
pub fn add_to(routes: &mut RoutesBuilder) {
    let descriptors = descriptors();
    let builder = || {
        Builder::configure()
            .register_file_descriptor_set(descriptors.clone())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The descriptors are compiled in; that they build is tested.
    if let Ok(service) = builder().build_v1() {
        routes.add_service(service);
    }
    if let Ok(service) = builder().build_v1alpha() {
        routes.add_service(service);
    }
}

/// The API's files and what they import.
fn descriptors() -> FileDescriptorSet {
    let mut all = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    all.file.retain(|file| file.package() == "rollcall.v1" || file.package().starts_with("google."));
    all
}

/// The paths of those methods of the API listener whose callers send a stream of messages.
pub(super) fn request_streams() -> Vec<String> {
    let own = descriptors().file;
    let encoded = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        pb::v1::FILE_DESCRIPTOR_SET,
        pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let others = encoded.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap_or_default().file);
    own.into_iter().chain(others).flat_map(|file| streams_of(&file)).collect()
}

fn streams_of(file: &FileDescriptorProto) -> Vec<String> {
    let methods = file.service.iter().flat_map(|service| service.method.iter().map(move |it| (service, it)));
    let streams = methods.filter(|(_, method)| method.client_streaming());
    streams
        .map(|(service, method)| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_whose_callers_send_streams_are_found() {
        let streams = request_streams();
        let expected = [
            "/rollcall.v1.InvokeService/InvokeStream",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ];
        assert_eq!(streams, expected);
    }

    #[test]
    fn the_descriptors_build_and_show_the_api_alone() {
        let files = descriptors();
        let services: Vec<_> =
            files.file.iter().flat_map(|file| &file.service).map(|service| service.name()).collect();
        assert_eq!(services, ["InvokeService", "RegistryService", "ClusterService"]);
        assert!(Builder::configure().register_file_descriptor_set(files.clone()).build_v1().is_ok());
        assert!(Builder::configure().register_file_descriptor_set(files).build_v1alpha().is_ok());
    }
}
