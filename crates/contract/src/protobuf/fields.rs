//! A pair of fields with the same number.

use super::{
    compare::{Comparer, Difference, Stream},
    rules::{self, PolicyRule},
    schema::{Cardinality, Field, Kind, Scalar},
    witness::{self, Side},
};

/// The messages that hold the fields, the fields, and the stream they travel in.
struct Meeting<'a> {
    messages: (&'a str, &'a str),
    old: &'a Field,
    new: &'a Field,
    stream: Stream,
    place: String,
}

/// Compares a pair of fields in one stream, and pairs their types.
pub(super) fn compare(
    comparer: &mut Comparer<'_>,
    messages: (&str, &str),
    (old, new): (&Field, &Field),
    stream: Stream,
) {
    let place = if old.json_name.starts_with('[') {
        old.name.clone()
    } else {
        format!("{}.{}", messages.0, old.name)
    };
    let meeting = Meeting { messages, old, new, stream, place };
    meeting.cardinality(comparer);
    meeting.kind(comparer);
    meeting.names(comparer);
    meeting.generated_code(comparer);
    if old.kind == new.kind {
        meeting.default(comparer);
    }
    if new.deprecated && !old.deprecated {
        meeting.report(comparer, &rules::DEPRECATED, format!("`{}` is deprecated", meeting.place));
    }
}

impl Meeting<'_> {
    fn difference(&self, rule: &'static PolicyRule, message: String) -> Difference<'_> {
        Difference::new(rule, self.place.clone(), message)
            .at(Some(&self.old.position), Some(&self.new.position))
            .on(self.stream)
    }

    fn report(&self, comparer: &mut Comparer<'_>, rule: &'static PolicyRule, message: String) {
        comparer.report(self.difference(rule, message));
    }

    fn writer(&self, side: Side) -> (&str, &Field) {
        match side {
            Side::Old => (self.messages.0, self.old),
            Side::New => (self.messages.1, self.new),
        }
    }

    /// The side that writes in this stream; the old one when both do.
    fn writing_side(&self) -> Side {
        if self.stream.old_writes() { Side::Old } else { Side::New }
    }

    fn cardinality(&self, comparer: &mut Comparer<'_>) {
        let (old, new) = (self.old.cardinality, self.new.cardinality);
        if old == new {
            return;
        }
        self.required(comparer);
        let words = format!("field `{}` is {} instead of {}", self.place, new.name(), old.name());
        if old.is_many() != new.is_many() {
            let many = if old.is_many() { Side::Old } else { Side::New };
            let travels = if many == Side::Old { self.stream.old_writes() } else { self.stream.new_writes() };
            // One value is read as a list of one, but an entry of a map has a form of its own.
            if !travels && old != Cardinality::Map && new != Cardinality::Map {
                self.report(comparer, &rules::FIELD_TYPE_JSON, words.clone());
                return self.report(comparer, &rules::FIELD_TYPE_SOURCE, words);
            }
            let side = if travels { many } else { self.writing_side() };
            let (message, field) = self.writer(side);
            let schema = if side == Side::Old { comparer.old } else { comparer.new };
            let shown = witness::sample(schema, field).map(|sample| {
                witness::field(side, message, field, &sample, "the reader expects another number of values")
            });
            comparer.report(self.difference(&rules::FIELD_CARDINALITY, words).shown(shown));
        } else if old.is_many() {
            self.report(comparer, &rules::FIELD_MAP_JSON, words);
        } else {
            self.report(comparer, &rules::FIELD_PRESENCE, words);
        }
    }

    fn required(&self, comparer: &mut Comparer<'_>) {
        let (old, new) = (self.old.cardinality, self.new.cardinality);
        if new == Cardinality::Required && self.stream.old_writes() {
            let outcome = "the new reader refuses the message: a required field is missing";
            let message = format!("field `{}` became required; old writers may leave it out", self.place);
            let shown = witness::empty(Side::Old, self.messages.0, outcome);
            comparer.report(self.difference(&rules::REQUIRED_ADDED, message).shown(Some(shown)));
        }
        if old == Cardinality::Required && self.stream.new_writes() {
            let outcome = "the old reader refuses the message: a required field is missing";
            let message =
                format!("field `{}` is no longer required; new writers may leave it out", self.place);
            let shown = witness::empty(Side::New, self.messages.1, outcome);
            comparer.report(self.difference(&rules::REQUIRED_REMOVED, message).shown(Some(shown)));
        }
    }

    fn kind(&self, comparer: &mut Comparer<'_>) {
        match (&self.old.kind, &self.new.kind) {
            (Kind::Scalar(old), Kind::Scalar(new)) if old == new => {}
            (Kind::Scalar(old), Kind::Scalar(new)) => self.scalars(comparer, *old, *new),
            (Kind::Enum(old), Kind::Enum(new)) => {
                self.renamed_type(comparer, old, new);
                comparer.pair_enums(old, new, self.stream);
            }
            (Kind::Message(old), Kind::Message(new)) | (Kind::Group(old), Kind::Group(new)) => {
                self.renamed_type(comparer, old, new);
                comparer.pair_messages(old, new, self.stream);
            }
            (Kind::Scalar(scalar), Kind::Enum(name)) if wire_group(*scalar) == 0 => {
                self.number_and_enum(comparer, name, Side::New);
            }
            (Kind::Enum(name), Kind::Scalar(scalar)) if wire_group(*scalar) == 0 => {
                self.number_and_enum(comparer, name, Side::Old);
            }
            (Kind::Message(_), Kind::Scalar(Scalar::Bytes)) => self.message_and_bytes(comparer, Side::New),
            (Kind::Scalar(Scalar::Bytes), Kind::Message(_)) => self.message_and_bytes(comparer, Side::Old),
            _ => self.type_changed(comparer, self.writing_side()),
        }
    }

    /// A message is sent as bytes are, so that bytes hold it; bytes that are none break a reader of messages. In JSON they differ.
    fn message_and_bytes(&self, comparer: &mut Comparer<'_>, writes_bytes: Side) {
        let outcome = "the reader refuses the message: the bytes are no message";
        self.bytes_travel(comparer, writes_bytes, outcome);
        self.report(comparer, &rules::FIELD_TYPE_JSON, self.type_words());
        self.report(comparer, &rules::FIELD_TYPE_SOURCE, self.type_words());
    }

    /// A number and an enum are the same bytes. JSON carries the names of values, and a closed enum drops numbers without one.
    fn number_and_enum(&self, comparer: &mut Comparer<'_>, name: &str, enum_side: Side) {
        let (number_side, travels, back) = match enum_side {
            Side::New => (Side::Old, self.stream.old_writes(), self.stream.new_writes()),
            Side::Old => (Side::New, self.stream.new_writes(), self.stream.old_writes()),
        };
        let schema = if enum_side == Side::Old { comparer.old } else { comparer.new };
        let declared = schema.enums.get(name);
        let stranger =
            declared.and_then(|one| (1..=i32::MAX).find(|number| !one.values.contains_key(number)));
        let (message, field) = self.writer(number_side);
        if let (true, Some(stranger)) = (travels, stranger) {
            let is_closed = declared.is_some_and(|one| !one.open);
            let outcome = if is_closed {
                "the reader has no value of this number and finds the field unset"
            } else {
                "the reader sees a number that has no name"
            };
            let shown = witness::number(field, stranger)
                .map(|sample| witness::field(number_side, message, field, &sample, outcome));
            let shown = shown.filter(|_| is_closed);
            comparer.report(self.difference(&rules::FIELD_NARROWED, self.type_words()).shown(shown));
        }
        if back {
            let (message, field) = self.writer(enum_side);
            let shown = witness::sample(schema, field).map(|sample| {
                witness::field(
                    enum_side,
                    message,
                    field,
                    &sample,
                    "JSON carries the name of the value, and the reader expects a number",
                )
            });
            comparer.report(self.difference(&rules::FIELD_TYPE_JSON, self.type_words()).shown(shown));
        }
        self.report(comparer, &rules::FIELD_TYPE_SOURCE, self.type_words());
    }

    fn renamed_type(&self, comparer: &mut Comparer<'_>, old: &str, new: &str) {
        let map = self.old.cardinality == Cardinality::Map && self.new.cardinality == Cardinality::Map;
        if old == new || map {
            return;
        }
        let message = format!(
            "the type of field `{}` is `{new}` instead of `{old}`; their members are compared",
            self.place
        );
        if has_own_json_form(old) || has_own_json_form(new) {
            self.report(comparer, &rules::FIELD_TYPE_JSON, message.clone());
        }
        self.report(comparer, &rules::FIELD_TYPE_SOURCE, message);
    }

    fn type_words(&self) -> String {
        format!("field `{}` is {} instead of {}", self.place, self.new.kind.name(), self.old.kind.name())
    }

    fn type_changed(&self, comparer: &mut Comparer<'_>, side: Side) {
        let (message, field) = self.writer(side);
        let schema = if side == Side::Old { comparer.old } else { comparer.new };
        let outcome = "the reader expects another encoding and drops, refuses or misreads it";
        let shown = witness::sample(schema, field)
            .map(|sample| witness::field(side, message, field, &sample, outcome));
        comparer.report(self.difference(&rules::FIELD_TYPE, self.type_words()).shown(shown));
    }

    fn scalars(&self, comparer: &mut Comparer<'_>, old: Scalar, new: Scalar) {
        match (old, new) {
            (Scalar::String, Scalar::Bytes) => {
                self.text_and_bytes(comparer, Side::New, self.old.utf8_checked);
            }
            (Scalar::Bytes, Scalar::String) => self.text_and_bytes(comparer, Side::Old, true),
            _ if wire_group(old) != wire_group(new) => self.type_changed(comparer, self.writing_side()),
            _ => self.narrowed(comparer, old, new),
        }
        if json_group(old) != json_group(new) {
            self.report(comparer, &rules::FIELD_TYPE_JSON, self.type_words());
        }
        self.report(comparer, &rules::FIELD_TYPE_SOURCE, self.type_words());
    }

    /// Bytes that are not text break a reader of text; the reverse is always fine.
    fn text_and_bytes(&self, comparer: &mut Comparer<'_>, writes_bytes: Side, refused: bool) {
        if refused {
            self.bytes_travel(
                comparer,
                writes_bytes,
                "the reader refuses the message: the string is not UTF-8",
            );
        }
    }

    fn bytes_travel(&self, comparer: &mut Comparer<'_>, writes_bytes: Side, outcome: &str) {
        let travels = match writes_bytes {
            Side::Old => self.stream.old_writes(),
            Side::New => self.stream.new_writes(),
        };
        if !travels {
            return;
        }
        let (message, field) = self.writer(writes_bytes);
        let shown = witness::field(writes_bytes, message, field, &witness::ill_formed_text(), outcome);
        comparer.report(self.difference(&rules::FIELD_TYPE, self.type_words()).shown(Some(shown)));
    }

    fn narrowed(&self, comparer: &mut Comparer<'_>, old: Scalar, new: Scalar) {
        let old_to_new = self.stream.old_writes().then(|| witness::misread(old, new)).flatten();
        let new_to_old = self.stream.new_writes().then(|| witness::misread(new, old)).flatten();
        let (side, (sample, outcome)) = match (old_to_new, new_to_old) {
            (Some(found), _) => (Side::Old, found),
            (None, Some(found)) => (Side::New, found),
            (None, None) => return,
        };
        let (message, field) = self.writer(side);
        let shown = witness::field(side, message, field, &sample, outcome);
        comparer.report(self.difference(&rules::FIELD_NARROWED, self.type_words()).shown(Some(shown)));
    }

    fn names(&self, comparer: &mut Comparer<'_>) {
        if self.old.name != self.new.name {
            let side = self.writing_side();
            let (message, field) = self.writer(side);
            let schema = if side == Side::Old { comparer.old } else { comparer.new };
            let shown = witness::sample(schema, field).map(|sample| {
                witness::field(side, message, field, &sample, "the JSON reader does not know the name")
            });
            let message = format!("field `{}` is called `{}` now", self.place, self.new.name);
            comparer.report(self.difference(&rules::FIELD_RENAMED, message).shown(shown));
        }
        if self.old.json_name != self.new.json_name {
            let (old, new) = (&self.old.json_name, &self.new.json_name);
            let message = format!("field `{}` is `{new}` instead of `{old}` in JSON", self.place);
            self.report(comparer, &rules::FIELD_JSON_NAME, message);
        }
    }

    fn default(&self, comparer: &mut Comparer<'_>) {
        let (old, new) = (&self.old.default, &self.new.default);
        if old == new || self.old.cardinality.is_many() || self.new.cardinality.is_many() {
            return;
        }
        let word = |value: &Option<String>| {
            value.as_ref().map_or("the zero value".to_owned(), |text| format!("`{text}`"))
        };
        let message =
            format!("the default of field `{}` is {} instead of {}", self.place, word(new), word(old));
        let side = self.writing_side();
        let shown =
            witness::empty(side, self.writer(side).0, "writer and reader understand different values");
        comparer.report(self.difference(&rules::FIELD_DEFAULT, message).shown(Some(shown)));
    }

    fn generated_code(&self, comparer: &mut Comparer<'_>) {
        let (old, new) = (self.old, self.new);
        let both = |of: fn(&Kind) -> bool| of(&old.kind) && of(&new.kind);
        let text = both(|kind| *kind == Kind::Scalar(Scalar::String));
        if text && (old.utf8_checked, old.java_utf8_checked) != (new.utf8_checked, new.java_utf8_checked) {
            let message = format!("field `{}` treats text that is not UTF-8 differently", self.place);
            self.report(comparer, &rules::FIELD_UTF8, message);
        }
        if both(is_text_or_bytes) && old.cpp_string != new.cpp_string {
            let message = format!(
                "field `{}` is a {:?} instead of a {:?} in C++",
                self.place, new.cpp_string, old.cpp_string
            );
            self.report(comparer, &rules::FIELD_CPP_STRING, message);
        }
        if both(is_wide_integer) && old.js_type != new.js_type {
            let message = format!("field `{}` has another type in JavaScript", self.place);
            self.report(comparer, &rules::FIELD_JSTYPE, message);
        }
        let lists = old.cardinality == Cardinality::Repeated && new.cardinality == Cardinality::Repeated;
        if lists && old.packed != new.packed && both(is_number) {
            let message = format!("field `{}` is packed differently; readers accept both", self.place);
            self.report(comparer, &rules::FIELD_PACKED, message);
        }
    }
}

fn is_text_or_bytes(kind: &Kind) -> bool {
    matches!(kind, Kind::Scalar(Scalar::String | Scalar::Bytes))
}

fn is_number(kind: &Kind) -> bool {
    matches!(kind, Kind::Enum(_) | Kind::Scalar(_)) && !is_text_or_bytes(kind)
}

fn is_wide_integer(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Scalar(Scalar::Int64 | Scalar::Uint64 | Scalar::Sint64 | Scalar::Fixed64 | Scalar::Sfixed64)
    )
}

/// Types within a group are encoded alike, bit for bit.
fn wire_group(scalar: Scalar) -> u8 {
    match scalar {
        Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 | Scalar::Bool => 0,
        Scalar::Sint32 | Scalar::Sint64 => 1,
        Scalar::Fixed32 | Scalar::Sfixed32 => 2,
        Scalar::Fixed64 | Scalar::Sfixed64 => 3,
        Scalar::Float => 4,
        Scalar::Double => 5,
        Scalar::String => 6,
        Scalar::Bytes => 7,
    }
}

/// Types within a group have the same form in JSON.
fn json_group(scalar: Scalar) -> u8 {
    match scalar {
        Scalar::Int32 | Scalar::Uint32 | Scalar::Sint32 | Scalar::Fixed32 | Scalar::Sfixed32 => 0,
        Scalar::Int64 | Scalar::Uint64 | Scalar::Sint64 | Scalar::Fixed64 | Scalar::Sfixed64 => 1,
        Scalar::Float | Scalar::Double => 2,
        Scalar::Bool => 3,
        Scalar::String => 4,
        Scalar::Bytes => 5,
    }
}

/// Well-known types that JSON writes in their own way.
fn has_own_json_form(name: &str) -> bool {
    const OWN: [&str; 9] =
        ["Any", "Duration", "Empty", "FieldMask", "ListValue", "NullValue", "Struct", "Timestamp", "Value"];
    name.strip_prefix("google.protobuf.")
        .is_some_and(|short| OWN.contains(&short) || short.ends_with("Value"))
}
