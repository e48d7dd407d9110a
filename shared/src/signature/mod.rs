//! Signed documents: a JSON text and armoured SSHSIG blocks over exactly that text, and the proof type [`Verified`].
