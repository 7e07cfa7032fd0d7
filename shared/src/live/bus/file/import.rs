//! A new log with the messages of another one, under their ids: cursors remain valid.

use std::{collections::HashSet, io, path::Path, sync::Arc};

use super::{
    disk::{Directory, Disk},
    error::OpenError,
    index::Copied,
    open,
    record::{self, Encoder, Hole},
    removed::{self, Removed},
    repair::{self, failed, unopened},
    segment::{self, Found, HEAD, Head, Visit, file_name},
    store::{self, Placed, Store},
    writer::KEYS,
};
use crate::{
    live::{
        clock::Moment,
        log::{Change, Limits, Listing, Log},
        reader::{Limit, Reader},
    },
    pure::{
        ChannelName, Cursor, Draft, Message, Since,
        stream::{SavedStream, StreamRecord},
    },
};

/// The bytes of one write.
const WRITE: usize = 1 << 20;
/// The length at which a segment is sealed.
const SEGMENT: u64 = super::options::MAX_SEGMENT;

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Messages.
    pub messages: u64,
    /// The oldest and the newest of them.
    pub ids: Option<(Cursor, Cursor)>,
    /// Streams, whose messages may be counted as well.
    pub streams: usize,
}

/// Writes a new log.
struct Importer {
    store: Store,
    encoder: Encoder,
    placed: Vec<Placed>,
    imported: Imported,
    /// Whether there is something to write.
    has_more: bool,
    /// The newest id of which the new log says that it was issued.
    known: Cursor,
    /// The streams, which the new log's segments repeat.
    log: Arc<Log>,
    /// What is to be added to the index.
    copied: Vec<Copied>,
    /// The newest position that a change of a stream uses.
    position: Cursor,
    /// The streams of a checkpoint that are not known yet.
    saved: Vec<SavedStream>,
}

impl Importer {
    /// A log in the directory at `path`, which has none: it is empty, or is created. It begins as the other log, whose first segment has
    /// `head`. No server starts with it before it is [finished](Self::finish).
    ///
    /// # Errors
    /// [`OpenError`].
    fn create(path: &Path, head: &Head) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(Directory::open(path).map_err(unopened(path))?);
        open::lock(&*disk)?;
        let names = disk.list().map_err(failed(&*disk, "cannot list the directory"))?;
        if names.iter().any(|name| name != "lock") {
            return Err(failed(&*disk, "an import needs an empty directory")(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        let head = Head { salt: rand::random(), number: 1, ..*head };
        store::create(&*disk, &head).map_err(io::Error::from).map_err(failed(&*disk, "cannot write"))?;
        let mut store = open::open_locked(disk.clone(), head.created_ms, SEGMENT)?;
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        store.streams = Some((log.clone(), Moment::now));
        removed::write_incomplete(&*disk).map_err(failed(&*disk, "cannot write"))?;
        let (encoder, known) = (store.begin(), store.last);
        let (placed, copied, imported) = (Vec::new(), Vec::new(), Imported::default());
        let position = Cursor::ZERO;
        let saved = Vec::new();
        Ok(Self { store, encoder, placed, imported, has_more: false, known, log, copied, position, saved })
    }

    /// Adds a message, which is newer than those before.
    ///
    /// # Errors
    /// `InvalidData` if it is not, and those of the disk.
    fn message(&mut self, id: Cursor, draft: &Draft) -> io::Result<()> {
        if id <= self.placed.last().map_or(self.store.last, |last| last.id) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (offset, length) = self.encoder.message(id, draft, true);
        self.placed.push(Placed { channel: draft.channel.clone(), id, offset, length });
        if self.log.has_stream(&draft.channel) {
            let message = Change::Message(Message::new(id, draft.clone()));
            self.log.apply(vec![message], Moment::now()).map_err(|_| io::ErrorKind::InvalidData)?;
        }
        self.known = id;
        self.imported.messages += 1;
        self.imported.ids = Some((self.imported.ids.map_or(id, |(first, _)| first), id));
        self.added()
    }

    fn state(&mut self, change: record::Change<'_>) -> io::Result<()> {
        self.encoder.state(change, true);
        if change.table != KEYS {
            self.store.states.lock().apply(change);
        }
        self.added()
    }

    /// Adds a change of a stream. The streams of the first checkpoint begin as they are there; later ones repeat what is known.
    fn stream(&mut self, record: &[u8]) -> io::Result<()> {
        match StreamRecord::decode(record).ok_or(io::ErrorKind::InvalidData)? {
            StreamRecord::Saved(saved) if self.log.knows_stream(&saved.channel) => Ok(()),
            StreamRecord::Saved(saved) => {
                self.saved.push(saved);
                Ok(())
            }
            record => self.change(record),
        }
    }

    /// Adds the streams of a checkpoint, which are in the order of their names: a source before its forks, which it counts.
    fn checkpoint(&mut self) -> io::Result<()> {
        let mut saved = std::mem::take(&mut self.saved);
        saved.sort_unstable_by_key(|saved| saved.state.created());
        saved.into_iter().try_for_each(|saved| self.change(StreamRecord::Create(SavedStream { messages: 0, ..saved })))
    }

    fn change(&mut self, record: StreamRecord) -> io::Result<()> {
        self.encoder.stream(&record.encode(), true);
        self.position = self.position.max(record.position().unwrap_or_default());
        self.known = self.known.max(self.position);
        self.log.apply(vec![Change::stream(record)], Moment::now()).map_err(|_| io::ErrorKind::InvalidData)?;
        self.added()
    }

    /// Adds a message of a stream that is not in the order of ids.
    fn copy(&mut self, id: Cursor, created: Cursor, draft: Draft) -> io::Result<()> {
        let length = self.encoder.copy(id, created, &draft, true);
        self.copied.push(Copied { channel: draft.channel.clone(), created, id, length: length as u64 });
        self.log.restore_message(Message::new(id, draft), created, Moment::now());
        self.added()
    }

    /// Adds a stream of `log`, which was created after everything that was added before, with all that it has.
    fn stored_stream(&mut self, log: &Log, saved: SavedStream) -> io::Result<()> {
        let (channel, created) = (saved.channel.clone(), saved.state.created());
        self.change(StreamRecord::Create(SavedStream { messages: 0, ..saved }))?;
        let stream = (&channel, created);
        let messages = log.stream_ids(stream, (Cursor::ZERO, Cursor::MAX));
        let mut messages = messages.into_iter().filter_map(|id| log.stream_message(stream, id));
        messages.try_for_each(|message| self.copy(message.id, created, message.draft.clone()))
    }

    fn added(&mut self) -> io::Result<()> {
        self.has_more = true;
        if self.encoder.bytes().len() >= WRITE { self.flush() } else { Ok(()) }
    }

    /// Ids of this range were issued and lost.
    ///
    /// # Errors
    /// Those of the disk.
    fn hole(&mut self, hole: Hole) -> io::Result<()> {
        self.flush()?;
        // Also one from before the first segment, which clients may still have cursors in. Each checkpoint repeats it.
        if !self.store.holes.contains(&hole) {
            self.store.add_hole(hole, [])?;
            self.known = self.known.max(hole.up_to);
        }
        self.encoder = self.store.begin();
        Ok(())
    }

    /// Ids up to `last` were issued. What had them may have been erased since.
    ///
    /// # Errors
    /// Those of the disk.
    fn issued(&mut self, last: Cursor) -> io::Result<()> {
        self.flush()?;
        self.store.last = self.store.last.max(last);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.has_more {
            self.store.write(&self.encoder)?;
            self.store.commit(&self.encoder, &self.placed);
            self.store.commit_streams(std::mem::take(&mut self.copied), self.position);
            self.placed.clear();
            self.has_more = false;
        }
        if self.store.is_full() {
            self.store.states.lock().expire(self.store.last.ms);
            self.store.roll()?;
        }
        self.encoder = self.store.begin();
        Ok(())
    }

    /// Makes all of it durable. `removed` is what the other log's channels have lost.
    ///
    /// # Errors
    /// Those of the disk.
    fn finish(mut self, removed: &Removed) -> io::Result<Imported> {
        self.flush()?;
        if self.store.last > self.known {
            // The next segment says so.
            self.store.roll()?;
        }
        self.store.sync(0)?;
        let encoder = self.store.begin();
        self.store.write(&encoder)?;
        self.store.sync(encoder.bytes().len() as u64)?;
        let disk = &*self.store.catalog.disk;
        removed.write(disk)?;
        disk.unlock();
        Ok(Imported { streams: self.log.counts().streams, ..self.imported })
    }
}

/// Imports the log in the directory `from`, which no process may use meanwhile, into the directory `path`, which has no log.
///
/// # Errors
/// [`OpenError`], also when the log in `from` is damaged.
pub fn import(path: &Path, from: &Path) -> Result<Imported, OpenError> {
    let source = Directory::open_read_only(from).map_err(unopened(from))?;
    open::lock(&source)?;
    let unread = || failed(&source, "cannot read the log");
    let examined = repair::read(&source).map_err(unread())?;
    if examined.is_damaged() || examined.is_interrupted {
        let error = io::Error::other("it is damaged, or not repaired completely: see `standalone log verify`");
        return Err(unread()(error));
    }
    let mut removed = Removed::read(&source).map_err(unread())?.unwrap_or_default();
    let numbers = repair::numbers(&source, &removed, false).map_err(unread())?;
    let (mut importer, mut newest) = (None::<Importer>, None);
    for number in numbers {
        let file = source.open(&file_name(number)).map_err(unread())?;
        let Some(head) = Head::read(&*file).map_err(unread())? else { continue };
        let importer = match &mut importer {
            Some(importer) => importer,
            empty => empty.insert(Importer::create(path, &head)?),
        };
        importer.issued(head.before).map_err(unread())?;
        let mut importing = Importing { importer, result: Ok(()) };
        let scanned = segment::scan(&*file, head.salt, HEAD, &mut importing).map_err(unread())?;
        importing.result.map_err(unread())?;
        newest = Some(scanned);
    }
    let mut importer = importer.ok_or_else(|| unread()(io::Error::other("there is no log in it")))?;
    importer.flush().map_err(unread())?;
    let last = importer.store.last;
    // What a start of the other log would find.
    if let Some(hole) = newest.and_then(|newest| newest.hole(last, source.boot().unwrap_or_default())) {
        importer.hole(hole).map_err(unread())?;
    }
    // The new log has lost what the other one had lost, and begins with its own first segment.
    removed.oldest = 0;
    importer.finish(&removed).map_err(|error| failed(&source, "cannot write the new log")(error))
}

/// Imports the messages and streams in memory of another log, which must be filled, into the directory `path`, which must not contain a log.
///
/// # Errors
/// [`OpenError`].
pub fn import_log(path: &Path, log: &Arc<Log>) -> Result<Imported, OpenError> {
    let unwritten = |error| OpenError::Disk {
        directory: path.display().to_string(),
        what: "cannot write the new log".to_owned(),
        error,
    };
    let before = log.floor();
    let created_ms = before.ms.max(Cursor::FIRST_ISSUED.ms);
    let mut importer = Importer::create(path, &Head { salt: 0, number: 1, created_ms, before })?;
    let mut listing = Listing::new("", None, usize::MAX);
    while log.list(&mut listing) {}
    let mut streams: Vec<SavedStream> = log.saved_streams(Moment::now()).into_iter().filter_map(saved).collect();
    streams.sort_unstable_by_key(|saved| saved.state.created());
    let of_streams: HashSet<&ChannelName> =
        streams.iter().filter(|saved| !saved.is_deleted).map(|saved| &saved.channel).collect();
    let channels = listing.into_page().0.into_iter().map(|stats| stats.name);
    let channels: Vec<ChannelName> = channels.filter(|channel| !of_streams.contains(channel)).collect();
    let mut messages = Vec::new();
    for channel in &channels {
        // One reader of all of them would visit each for each batch.
        let mut reader = Reader::open(log, std::slice::from_ref(channel), Since::Earliest);
        while let Some(batch) = reader.read(Limit { messages: 10_000, bytes: WRITE }) {
            messages.extend(batch.messages);
        }
    }
    messages.sort_unstable_by_key(|message| message.id);
    // What was before a loss that is not known in detail is left out.
    let mut streams = streams.into_iter().peekable();
    for message in messages.iter().filter(|message| message.id > before) {
        while let Some(saved) = streams.next_if(|saved| saved.state.created() < message.id) {
            importer.stored_stream(log, saved).map_err(unwritten)?;
        }
        importer.message(message.id, &message.draft).map_err(unwritten)?;
    }
    streams.try_for_each(|saved| importer.stored_stream(log, saved)).map_err(unwritten)?;
    importer.issued(log.head()).map_err(unwritten)?;
    let mut removed = Removed::default();
    removed.lose(0, before.max(log.forgotten().up_to));
    for channel in channels {
        let dropped = log.dropped(&channel).unwrap_or_default();
        removed.set(channel, dropped.max(before));
    }
    removed.shrink();
    importer.finish(&removed).map_err(unwritten)
}

fn saved(record: StreamRecord) -> Option<SavedStream> {
    if let StreamRecord::Saved(saved) = record { Some(saved) } else { None }
}

/// Imports what a scan visits.
struct Importing<'a> {
    importer: &'a mut Importer,
    /// Of the holes and the checkpoints.
    result: io::Result<()>,
}

impl Visit for Importing<'_> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        let draft = record::draft(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        self.importer.message(found.id, &draft)
    }

    fn state(&mut self, fields: &[u8], _: u64, _: u64) -> io::Result<()> {
        self.importer.state(record::change(fields).ok_or(io::ErrorKind::InvalidData)?)
    }

    fn stream(&mut self, record: &[u8]) -> io::Result<()> {
        self.importer.stream(record)
    }

    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        let draft = record::draft(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        self.importer.copy(found.id, created, draft)
    }

    fn hole(&mut self, hole: Hole) {
        if let Err(error) = self.importer.hole(hole) {
            self.result = Err(error);
        }
    }

    fn checkpoint(&mut self) {
        if let Err(error) = self.importer.checkpoint() {
            self.result = Err(error);
        }
    }
}
