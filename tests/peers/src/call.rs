//! A call and its answer: iceoryx2's request and response, both sides polling all the time.

use crate::pace::now;
use crate::place::{Failure, Kind, Place};
use iceoryx2::port::client::Client;
use iceoryx2::port::server::Server;
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

/// Whoever waits for longer waits in vain.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many looks for something go between two looks at the clock.
const LOOKS: u32 = 1 << 16;

type Bytes<const SIZE: usize> = [u8; SIZE];

/// The caller's side.
pub(crate) trait Calling {
    /// Nanoseconds of each of so many calls.
    fn calls(&self, count: u64) -> Result<Vec<u64>, Failure>;
}

/// The server's side.
pub(crate) trait Answering {
    /// Answers so many calls with what they have sent.
    fn answer(&self, count: u64) -> Result<(), Failure>;
}

pub(crate) fn calling(place: &Place, size: u64) -> Result<Box<dyn Calling>, Failure> {
    Ok(match size {
        8 => Box::new(client::<8>(place)?),
        4096 => Box::new(client::<4096>(place)?),
        _ => return Err(format!("no calls of {size} bytes are built in").into()),
    })
}

pub(crate) fn answering(place: &Place, size: u64) -> Result<Box<dyn Answering>, Failure> {
    Ok(match size {
        8 => Box::new(server::<8>(place)?),
        4096 => Box::new(server::<4096>(place)?),
        _ => return Err(format!("no calls of {size} bytes are built in").into()),
    })
}

type ClientOf<const SIZE: usize> = Client<Kind, Bytes<SIZE>, (), Bytes<SIZE>, ()>;
type ServerOf<const SIZE: usize> = Server<Kind, Bytes<SIZE>, (), Bytes<SIZE>, ()>;

fn client<const SIZE: usize>(place: &Place) -> Result<ClientOf<SIZE>, Failure> {
    let service = place.service(&format!("call-{SIZE}"))?;
    let service = service.request_response::<Bytes<SIZE>, Bytes<SIZE>>();
    Ok(service.open_or_create()?.client_builder().create()?)
}

fn server<const SIZE: usize>(place: &Place) -> Result<ServerOf<SIZE>, Failure> {
    let service = place.service(&format!("call-{SIZE}"))?;
    let service = service.request_response::<Bytes<SIZE>, Bytes<SIZE>>();
    Ok(service.open_or_create()?.server_builder().create()?)
}

/// Looks until there is something.
fn poll<T>(mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for _ in 0..LOOKS {
            if let Some(found) = look()? {
                return Ok(found);
            }
            spin_loop();
        }
    }
    Err("the other side says nothing".into())
}

impl<const SIZE: usize> Calling for ClientOf<SIZE> {
    fn calls(&self, count: u64) -> Result<Vec<u64>, Failure> {
        let mut times = Vec::with_capacity(count as usize);
        let mut answer = [0; SIZE];
        for _ in 0..count {
            let start = now();
            let request = self.loan_uninit()?.write_payload(*black_box(&answer));
            let pending = request.send()?;
            let response = poll(|| Ok(pending.receive()?))?;
            answer = *black_box(response.payload());
            times.push(now() - start);
        }
        Ok(times)
    }
}

impl<const SIZE: usize> Answering for ServerOf<SIZE> {
    fn answer(&self, count: u64) -> Result<(), Failure> {
        for _ in 0..count {
            let request = poll(|| Ok(self.receive()?))?;
            let response = request.loan_uninit()?;
            response
                .write_payload(*black_box(request.payload()))
                .send()?;
        }
        Ok(())
    }
}
