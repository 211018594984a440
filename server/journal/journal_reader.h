#ifndef PTYCHOSERVE_SERVER_JOURNAL_JOURNAL_READER_H_
#define PTYCHOSERVE_SERVER_JOURNAL_JOURNAL_READER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/record_file.h"
#include "engine/scan/id_ranges.h"

namespace ptychoserve::server {

// Reads a journal back: the records of all segments and lanes in the order of their numbers, each
// number once. Files that cannot be read are logged, counted and left out.
class JournalReader {
 public:
  // `segments` as SessionFiles::JournalSegments gives them; `session` for the log.
  JournalReader(std::vector<std::vector<std::string>> segments, std::string session);

  // The next record, valid until the next call; nullopt at the end.
  std::optional<Record> Next();
  // Bytes that were stepped over so far: torn ends, or damage.
  std::int64_t lost_bytes() const { return lost_bytes_; }
  std::int64_t unreadable_files() const { return unreadable_files_; }

 private:
  struct Lane {
    RecordReader reader;
    std::optional<Record> record;  // The next one.
  };
  // False when there is no further segment.
  bool OpenNextSegment();
  void Advance(Lane& lane);
  void NoteUnreadable(const absl::Status& why);

  const std::vector<std::vector<std::string>> segments_;
  const std::string session_;
  std::size_t next_segment_ = 0;
  std::vector<Lane> lanes_;  // Of the present segment.
  Lane* given_ = nullptr;    // Whose record was given last.
  IdRanges taken_;           // Numbers of records; some are written again after an error.
  std::int64_t lost_bytes_ = 0;
  std::int64_t unreadable_files_ = 0;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_JOURNAL_JOURNAL_READER_H_
