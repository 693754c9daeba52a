//! Documents out of a fuzzer's bytes.
//!
//! A fuzzer that changes bytes at random breaks a document's lengths nearly always. So a document is either taken as it
//! is, or forged: the bytes are read as orders of what to write, which gives well-formed documents with the names that
//! matter, and every change of the bytes another one.
//!
//! ```text
//!   document := even  length:u16le  that many bytes           as they are
//!             | odd   (kind name value)* 0  [place xor]       forged; with bit 1 set, one byte is changed afterwards
//! ```

use backstay_mongodb::interpret::raw::{self, kind};

/// Kinds by the order byte; what matters more stands there more than once.
const KINDS: [u8; 32] = [
    kind::DOCUMENT,
    kind::DOCUMENT,
    kind::DOCUMENT,
    kind::ARRAY,
    kind::ARRAY,
    kind::STRING,
    kind::STRING,
    kind::STRING,
    kind::INT32,
    kind::INT32,
    kind::INT64,
    kind::DOUBLE,
    kind::BINARY,
    kind::BINARY,
    kind::TIMESTAMP,
    kind::BOOL,
    kind::BOOL,
    kind::NULL,
    kind::OBJECT_ID,
    kind::DATE,
    kind::DECIMAL128,
    kind::REGEX,
    kind::CODE,
    kind::SYMBOL,
    kind::CODE_WITH_SCOPE,
    kind::DB_POINTER,
    kind::MIN_KEY,
    kind::MAX_KEY,
    kind::UNDEFINED,
    kind::INT32,
    kind::DOCUMENT,
    0x42,
];

/// Names of fields that something looks for.
const NAMES: &[&str] = &[
    "_id",
    "a",
    "b",
    "c",
    "d",
    "e",
    "u",
    "i",
    "l",
    "o",
    "sa",
    "sb",
    "sc",
    "u0",
    "u1",
    "u2",
    "s0",
    "s1",
    "s2",
    "u01",
    "$v",
    "diff",
    "$set",
    "$unset",
    "a.b",
    "a.0",
    "a.1.b",
    "a.b.c",
    "b.a",
    "b.01",
    "c.2",
    "",
    "tenant",
    "customer",
    "op",
    "ns",
    "ui",
    "o2",
    "ts",
    "lsid",
    "txnNumber",
    "prevOpTime",
    "multiOpType",
    "fromMigrate",
    "applyOps",
    "partialTxn",
    "prepare",
    "commitTransaction",
    "abortTransaction",
    "commitTimestamp",
    "create",
    "drop",
    "renameCollection",
    "to",
    "dropTarget",
    "createIndexes",
    "commitIndexBuild",
    "indexes",
    "dropIndexes",
    "index",
    "collMod",
    "key",
    "keyPattern",
    "name",
    "v",
    "importCollection",
    "catalogEntry",
    "md",
    "dryRun",
    "emptycapped",
    "msg",
    "options",
    "uuid",
    "type",
    "lost",
    "viewOn",
    "pipeline",
    "capped",
    "size",
    "max",
    "cappedSize",
    "cappedMax",
    "validator",
    "validationLevel",
    "validationAction",
    "timeseries",
    "granularity",
    "bucketMaxSpanSeconds",
    "expireAfterSeconds",
    "hidden",
    "unique",
    "prepareUnique",
    "forceNonUnique",
    "clustered",
    "changeStreamPreAndPostImages",
    "enabled",
    "recordPreImages",
    "idIndex",
    "0",
    "1",
    "2",
];

/// Texts that something looks for.
const TEXTS: &[&str] = &[
    "i",
    "u",
    "d",
    "c",
    "n",
    "xi",
    "q",
    "shop.orders",
    "shop.$cmd",
    "t_a.c",
    "shop.system.views",
    "admin.system.users",
    "shop.system.buckets.w",
    "config.x",
    "orders",
    "shop",
    "shop.new",
    "other.new",
    "*",
    "_id_",
    "x_1",
    "seconds",
    "hours",
    "strict",
    "error",
    "off",
    "new primary",
    "",
];

/// How deep forged documents nest; bytes taken as they are go deeper.
const DEPTH: u32 = 12;
/// How many fields a forged document has at most.
const WIDTH: usize = 40;

pub(crate) struct Forge<'a> {
    rest: &'a [u8],
}

impl<'a> Forge<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Forge<'a> {
        Forge { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next bytes, as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.take(N);
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    /// One of these, chosen by the next byte.
    pub(crate) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    pub(crate) fn text(&mut self) -> &'static str {
        self.choose(TEXTS)
    }

    /// A document, sound or not.
    pub(crate) fn document(&mut self) -> Vec<u8> {
        let mode = self.byte();
        if mode & 1 == 0 {
            let length = u16::from_le_bytes(self.array());
            return self.take(usize::from(length)).to_vec();
        }
        let mut out = Vec::new();
        self.fields(&mut out, DEPTH);
        if mode & 2 != 0 {
            let (place, change) = (u16::from_le_bytes(self.array()), self.byte());
            let place = usize::from(place) % out.len();
            out[place] ^= change;
        }
        out
    }

    fn fields(&mut self, out: &mut Vec<u8>, depth: u32) {
        let start = raw::open(out);
        for _ in 0..WIDTH {
            let order = self.byte();
            if order == 0 {
                break;
            }
            let kind = KINDS[usize::from(order) % KINDS.len()];
            let name = self.name();
            self.element(out, kind, &name, depth);
        }
        raw::close(out, start).expect("it is small");
    }

    fn name(&mut self) -> Vec<u8> {
        let order = usize::from(self.byte());
        match NAMES.get(order) {
            Some(name) => name.as_bytes().to_vec(),
            None => self.take(order % 4 + 1).iter().map(|byte| (*byte).max(1)).collect(),
        }
    }

    fn element(&mut self, out: &mut Vec<u8>, kind: u8, name: &[u8], depth: u32) {
        match kind {
            kind::DOCUMENT if depth > 0 => {
                raw::put(out, kind, name, &[]);
                self.fields(out, depth - 1);
            }
            kind::ARRAY if depth > 0 => {
                let start = raw::put_document(out, kind, name);
                for index in 0..WIDTH {
                    let order = self.byte();
                    if order == 0 {
                        break;
                    }
                    let inner = KINDS[usize::from(order) % KINDS.len()];
                    self.element(out, inner, index.to_string().as_bytes(), depth - 1);
                }
                raw::close(out, start).expect("it is small");
            }
            kind::DOCUMENT | kind::ARRAY => raw::put(out, kind, name, &[5, 0, 0, 0, 0]),
            _ => {
                let value = self.value(kind);
                raw::put(out, kind, name, &value);
            }
        }
    }

    fn value(&mut self, kind: u8) -> Vec<u8> {
        match kind {
            kind::STRING | kind::CODE | kind::SYMBOL => self.string(),
            kind::INT32 => {
                // Small numbers and the largest ones matter most.
                let number = i32::from(self.byte().cast_signed());
                match number {
                    120.. => i32::from_le_bytes(self.array()).to_le_bytes().to_vec(),
                    _ => number.to_le_bytes().to_vec(),
                }
            }
            kind::DOUBLE | kind::DATE | kind::INT64 => self.array::<8>().to_vec(),
            kind::TIMESTAMP => {
                let (ordinal, second) = (self.byte(), self.byte());
                [ordinal, 0, 0, 0, second, 0, 0, 0].to_vec()
            }
            kind::BINARY => {
                let order = self.byte();
                if order < 64 {
                    // A UUID.
                    return [&[16, 0, 0, 0, 4][..], &[order; 16]].concat();
                }
                let bytes = self.take(usize::from(order & 15));
                [&[u8::try_from(bytes.len()).unwrap_or(0), 0, 0, 0, order >> 4][..], bytes].concat()
            }
            kind::BOOL => vec![self.byte() & 1],
            kind::OBJECT_ID => self.array::<12>().to_vec(),
            kind::DECIMAL128 => self.array::<16>().to_vec(),
            kind::REGEX => b"a.*\0i\0".to_vec(),
            kind::DB_POINTER => [self.string(), self.array::<12>().to_vec()].concat(),
            kind::CODE_WITH_SCOPE => {
                let (code, scope) = (self.string(), [5, 0, 0, 0, 0]);
                let length = u32::try_from(4 + code.len() + scope.len()).unwrap_or(0);
                [&length.to_le_bytes()[..], &code, &scope].concat()
            }
            _ => Vec::new(),
        }
    }

    fn string(&mut self) -> Vec<u8> {
        let order = usize::from(self.byte());
        let text = match TEXTS.get(order) {
            Some(text) => text.as_bytes(),
            None => self.take(order & 15),
        };
        let length = u32::try_from(text.len() + 1).unwrap_or(0);
        [&length.to_le_bytes()[..], text, &[0]].concat()
    }
}
