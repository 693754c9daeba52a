//! How the model's nouns and lists of ids are written in CBOR.
//!
//! ```text
//!   tick          unsigned, packed seconds << 32 | ordinal
//!   incarnation   unsigned
//!   range         [bound, bound]      bound: null (unbounded) | [0, bytes] (included) | [1, bytes] (excluded)
//!   id, hash      byte string of 16, of 32
//! ```

use minicbor::data::Type;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decoder, Encoder};

pub(crate) mod tick {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};
    use backstay_model::Tick;

    pub(crate) fn encode<C, W: Write>(tick: &Tick, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.u64(tick.to_u64())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Tick, DecodeError> {
        Ok(Tick::from_u64(d.u64()?))
    }
}

pub(crate) mod incarnation {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};
    use backstay_model::Incarnation;

    pub(crate) fn encode<C, W: Write>(
        incarnation: &Incarnation,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.u64(incarnation.0)?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Incarnation, DecodeError> {
        Ok(Incarnation(d.u64()?))
    }
}

pub(crate) mod range {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Type, Write};
    use backstay_model::IdRange;
    use std::ops::Bound;

    pub(crate) fn encode<C, W: Write>(
        range: &IdRange,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?;
        for bound in [&range.from, &range.to] {
            match bound {
                Bound::Unbounded => e.null()?,
                Bound::Included(id) => e.array(2)?.u8(0)?.bytes(id)?,
                Bound::Excluded(id) => e.array(2)?.u8(1)?.bytes(id)?,
            };
        }
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<IdRange, DecodeError> {
        expect_pair(d, "a range has two bounds")?;
        Ok(IdRange { from: bound(d)?, to: bound(d)? })
    }

    fn bound(d: &mut Decoder<'_>) -> Result<Bound<Vec<u8>>, DecodeError> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(Bound::Unbounded);
        }
        expect_pair(d, "a bound has a kind and an id")?;
        let kind = d.u8()?;
        let id = d.bytes()?.to_vec();
        match kind {
            0 => Ok(Bound::Included(id)),
            1 => Ok(Bound::Excluded(id)),
            _ => Err(DecodeError::message("unknown kind of bound")),
        }
    }

    fn expect_pair(d: &mut Decoder<'_>, otherwise: &'static str) -> Result<(), DecodeError> {
        if d.array()? == Some(2) { Ok(()) } else { Err(DecodeError::message(otherwise)) }
    }
}

pub(crate) mod ids {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};
    use crate::commit::Id;

    pub(crate) fn encode<C, W: Write>(ids: &[Id], e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(u64::try_from(ids.len()).unwrap_or(u64::MAX))?;
        for id in ids {
            e.bytes(id)?;
        }
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Id>, DecodeError> {
        // The claimed length is not trusted with an allocation.
        let count = d.array()?.ok_or_else(|| DecodeError::message("a list of ids states its length"))?;
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(super::id(d)?);
        }
        Ok(ids)
    }
}

pub(crate) mod optional_id {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Type, Write};
    use crate::commit::Id;

    pub(crate) fn encode<C, W: Write>(
        value: &Option<Id>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match value {
            Some(id) => e.bytes(id)?.ok(),
            None => e.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<Id>, DecodeError> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(None);
        }
        super::id(d).map(Some)
    }

    pub(crate) fn is_nil(value: &Option<Id>) -> bool {
        value.is_none()
    }

    pub(crate) fn nil() -> Option<Option<Id>> {
        Some(None)
    }
}

fn id(d: &mut Decoder<'_>) -> Result<crate::commit::Id, DecodeError> {
    d.bytes()?.try_into().map_err(|_| DecodeError::message("an id has 16 bytes"))
}
