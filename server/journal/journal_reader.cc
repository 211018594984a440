#include "server/journal/journal_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "server/telemetry/log.h"

namespace ptychoserve::server {

JournalReader::JournalReader(std::vector<std::vector<std::string>> segments, std::string session)
    : segments_(std::move(segments)), session_(std::move(session)) {}

bool JournalReader::OpenNextSegment() {
  for (const Lane& lane : lanes_) lost_bytes_ += lane.reader.lost_bytes();
  lanes_.clear();
  if (next_segment_ == segments_.size()) return false;
  for (const std::string& path : segments_[next_segment_++]) {
    auto reader = RecordReader::Open(path);
    if (!reader.ok()) {
      NoteUnreadable(reader.status());
      continue;
    }
    Lane& lane = lanes_.emplace_back(Lane{*std::move(reader), std::nullopt});
    Advance(lane);
  }
  return true;
}

void JournalReader::Advance(Lane& lane) {
  lane.record.reset();
  auto record = lane.reader.Next();
  if (record.ok()) {
    lane.record = *record;
  } else {
    NoteUnreadable(record.status());
  }
}

void JournalReader::NoteUnreadable(const absl::Status& why) {
  ++unreadable_files_;
  Log(LogLevel::kError, "a file of the journal cannot be read",
      {{"session", session_}, {"reason", std::string(why.message())}});
}

std::optional<Record> JournalReader::Next() {
  if (Lane* const lane = std::exchange(given_, nullptr)) Advance(*lane);
  while (true) {
    const auto next = std::ranges::min_element(lanes_, {}, [](const Lane& lane) {
      return lane.record ? lane.record->sequence : std::numeric_limits<std::uint64_t>::max();
    });
    if (next == lanes_.end() || !next->record) {
      if (!OpenNextSegment()) return std::nullopt;
    } else if (taken_.Insert(static_cast<std::int64_t>(next->record->sequence))) {
      given_ = &*next;
      return next->record;
    } else {
      Advance(*next);
    }
  }
}

}  // namespace ptychoserve::server
