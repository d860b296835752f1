//! Bytes that come little by little, up to a few megabytes, of many forms at once.

/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// They lie in pieces until all are there: one growing piece would be moved again and again, and
/// beside many others leave as much room unused behind it as it takes.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pieces: Vec<Vec<u8>>,
    length: usize,
}

impl Gathered {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.length += data.len();
        for data in data.chunks(PIECE_BYTES) {
            match self.pieces.last_mut().filter(|last| last.len() + data.len() <= PIECE_BYTES) {
                Some(last) => last.extend_from_slice(data),
                None => self.pieces.push(data.to_vec()),
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// All of them, in a piece that is no longer than they are.
    pub(crate) fn whole(mut self) -> Vec<u8> {
        let mut whole = match self.pieces.len() {
            1 => self.pieces.pop().unwrap_or_default(),
            _ => Vec::with_capacity(self.length),
        };
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        whole.shrink_to_fit();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::{Gathered, PIECE_BYTES};

    #[test]
    fn what_comes_in_pieces_is_whole_in_the_end() {
        assert!(Gathered::default().whole().is_empty());
        let bytes: Vec<u8> = (0..5 * PIECE_BYTES + 7).map(|at| (at % 251) as u8).collect();
        for size in [1, 999, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, bytes.len()] {
            let mut gathered = Gathered::default();
            for piece in bytes.chunks(size) {
                gathered.push(piece);
            }
            assert_eq!(gathered.len(), bytes.len());
            assert!(gathered.pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
            assert!(gathered.whole() == bytes, "{size}");
        }
        let mut short = Gathered::default();
        short.push(b"name");
        short.push(b"=ann");
        let whole = short.whole();
        assert_eq!((whole.as_slice(), whole.capacity()), (b"name=ann".as_slice(), 8));
    }
}
