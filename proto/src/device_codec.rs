//! The codec of device streams. A node holds tens of thousands, most of them idle, so each begins with small buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What a stream's buffer begins with, in each direction: about two frames without payload. It grows as it must.
const BUFFER_BYTES: usize = 512;
/// As many bytes of frames that are ready go out together; tonic's own value.
const TOGETHER_BYTES: usize = 32 * 1024;

/// Protocol buffers, with small buffers for each stream.
#[derive(Debug, Clone)]
pub struct DeviceCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for DeviceCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for DeviceCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, TOGETHER_BYTES)
}
