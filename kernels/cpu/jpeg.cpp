// Decodes a part of a JPEG file, with the libjpeg-turbo that Pillow has loaded, and resamples it.
//
// The pixels are those of a full decode by Pillow. What could make them differ is refused, and the
// caller then decodes with Pillow:
// - only sequential Huffman-coded files of one scan are decoded, and only if nothing but coded data
//   and restart markers lies between the header and an end-of-image marker at the file's end. From
//   such data libjpeg reports no errors, only warnings, so that nothing that Pillow would refuse can
//   hide in the part that is not decoded;
// - a warning in the part that is decoded;
// - the interpolation of chroma looks at neighbours and treats the edge of a cropped decode as that
//   of an image. kMargin pixels around the part are decoded and dropped.

#include <csetjmp>
#include <cstring>
#include <new>
#include <vector>

#include "libjpeg.h"
#include "resample.h"

namespace {

enum Result { kDone = 0, kOutOfMemory = 1, kRefused = 2 };

constexpr int kMargin = 16;
constexpr int kBatch = 16;  // rows that are decoded before they are resampled

struct Request {
  const uint8_t* content;
  int64_t bytes;
  int64_t width, height;                       // of the image
  int64_t left, top, box_width, box_height;    // the part
  int64_t filter, new_width, new_height;       // what the part is resampled to; kNone: nothing
  int64_t out_left, out_top, out_width, out_height;  // what is wanted of the result
  int64_t is_mirrored;                         // the result, left to right; not for kNone
  int64_t may_begin_with_columns;              // the order of Pillow's passes, see Rows
  uint8_t* output;                             // (out_height, out_width, 3)
};

// Return whether one interval lies in another that begins at 0, and is not empty.
bool is_inside(int64_t start, int64_t size, int64_t limit) {
  return start >= 0 && size > 0 && size <= limit - start;
}

bool is_valid(const Request& request) {
  return is_inside(request.left, request.box_width, request.width) &&
         is_inside(request.top, request.box_height, request.height) &&
         is_inside(request.out_left, request.out_width, request.new_width) &&
         is_inside(request.out_top, request.out_height, request.new_height);
}

struct Errors {
  jpeg::ErrorManager manager;  // first, so that a pointer to it is one to this
  std::jmp_buf escape;
};

[[noreturn]] void escape(jpeg::Decompress* decoder) {
  std::longjmp(reinterpret_cast<Errors*>(decoder->err)->escape, 1);
}

void ignore(jpeg::Decompress*) {}

// Return whether a scan that begins at `position` is followed by the end of the image and of the
// file, without any other marker.
bool is_only_scan(const uint8_t* position, const uint8_t* end) {
  while (position + 1 < end) {
    position = static_cast<const uint8_t*>(std::memchr(position, 0xFF, end - position - 1));
    if (position == nullptr) return false;
    const uint8_t code = position[1];
    if (code == 0xD9) return position + 2 == end;
    if (code != 0 && (code < 0xD0 || code > 0xD7)) return false;
    position += 2;
  }
  return false;
}

// Return the first byte of the first scan's data, or null. Walks over the segments of the header.
const uint8_t* find_scan(const uint8_t* content, const uint8_t* end) {
  const uint8_t* position = content + 2;
  while (end - position >= 4 && position[0] == 0xFF) {
    const uint8_t code = position[1];
    if (code == 0xFF || (code >= 0xD0 && code <= 0xD9) || code < 0xC0) return nullptr;
    position += 2 + (position[2] << 8 | position[3]);
    if (code == 0xDA) return position < end ? position : nullptr;
  }
  return nullptr;
}

struct Span {
  unsigned begin, end;

  // Some pixels with a margin, within an image.
  Span(int64_t start, int64_t size, unsigned limit)
      : begin(start > kMargin ? start - kMargin : 0),
        end(std::min<int64_t>(start + size + kMargin, limit)) {}
};

// Return `bytes` rounded up to whole vectors.
size_t pad(size_t bytes) { return (bytes + kLanes - 1) / kLanes * kLanes; }

// What becomes of the rows of the part.
class Rows {
 public:
  // `width`: the longest row that is decoded, in pixels.
  Rows(const Request& request, unsigned width)
      : request_(request),
        is_copied_(request.filter == kNone),
        across_(filter(), request.box_width, request.new_width, request.out_left,
                request.out_width),
        down_(filter(), request.box_height, request.new_height, request.out_top,
              request.out_height),
        stride_(pad(is_row_first() ? 3 * request.out_width + 1 : 4 * columns())),
        interleaved_(is_copied_ ? 0 : kRowsAtOnce * columns()),
        decoded_(static_cast<size_t>(kBatch) * width * 4),
        kept_(is_copied_ ? 0 : stride_ * (end() - begin())) {
    for (int row = 0; row < kBatch; ++row) {
      pointers_[row] = decoded_.data() + static_cast<size_t>(row) * width * 4;
    }
  }

  uint8_t** pointers() { return pointers_; }

  // The rows and columns of the part that are needed.
  int begin() const { return is_copied_ ? 0 : down_.begin(); }
  int end() const { return is_copied_ ? request_.box_height : down_.end(); }
  int left() const { return is_copied_ ? 0 : across_.begin(); }
  int columns() const { return is_copied_ ? request_.box_width : across_.end() - left(); }

  // Take `count` decoded rows from `row` of the part on, with `margin` pixels before those needed.
  void take(int row, int count, uint8_t* const* decoded, int margin) {
    for (int i = 0; i < count; i += is_row_first() && !is_copied_ ? kRowsAtOnce : 1) {
      if (is_copied_) {
        const size_t bytes = 3 * request_.box_width;
        std::memcpy(request_.output + (row + i) * bytes, decoded[i] + 3 * margin, bytes);
      } else if (is_row_first()) {
        resample(decoded + i, margin, std::min(kRowsAtOnce, count - i), kept(row + i), stride_);
      } else {
        std::memcpy(kept(row + i), decoded[i] + 4 * margin, 4 * columns());
      }
    }
  }

  void finish() {
    if (is_copied_) return;
    const size_t bytes = 3 * request_.out_width;
    std::vector<uint8_t> result(stride_ * request_.out_height), row(bytes + 1);
    resample_columns(down_, kept_.data(), stride_, result.data());
    for (int64_t i = 0; i < request_.out_height; ++i) {
      uint8_t* one = result.data() + i * stride_;
      if (!is_row_first()) {
        resample(&one, 0, 1, row.data(), 0);
        one = row.data();
      }
      std::memcpy(request_.output + i * bytes, one, bytes);
    }
  }

 private:
  Filter filter() const { return is_copied_ ? kBilinear : static_cast<Filter>(request_.filter); }

  // From version 13 on, Pillow begins with the columns if the height shrinks by more than twice as
  // many pixels as the width.
  bool is_row_first() const {
    const int64_t removed = request_.box_height - request_.new_height;
    return !request_.may_begin_with_columns || removed <= 0 ||
           removed <= 2 * (request_.box_width - request_.new_width);
  }

  uint8_t* kept(int row) { return kept_.data() + (row - begin()) * stride_; }

  void resample(uint8_t* const* rows, int margin, int count, uint8_t* output, size_t stride) {
    const uint8_t* inputs[kRowsAtOnce];
    uint8_t* outputs[kRowsAtOnce];
    for (int i = 0; i < kRowsAtOnce; ++i) {
      inputs[i] = rows[std::min(i, count - 1)] + 4 * margin;
      outputs[i] = output + i * stride;
    }
    interleave(inputs, columns(), interleaved_.data());
    resample_rows(across_, interleaved_.data(), count, request_.is_mirrored, outputs);
  }

  const Request& request_;
  bool is_copied_;
  Taps across_, down_;
  size_t stride_;
  std::vector<uint32_t> interleaved_;
  std::vector<uint8_t> decoded_, kept_;
  uint8_t* pointers_[kBatch];
};

// Everything with a destructor is made by the caller: longjmp passes over this function.
Result decode(const jpeg::Library& library, const Request& request, Rows& rows,
              jpeg::Decompress& decoder, Errors& errors) {
  if (setjmp(errors.escape)) return kRefused;
  library.create_decompress(&decoder, jpeg::kVersion, sizeof(decoder));
  library.mem_src(&decoder, request.content, request.bytes);
  if (library.read_header(&decoder, 1) != jpeg::kHeaderOk) return kRefused;
  const bool is_usual = decoder.image_width == request.width &&
                        decoder.image_height == request.height && decoder.data_precision == 8 &&
                        (decoder.num_components == 1 || decoder.num_components == 3) &&
                        decoder.comps_in_scan == decoder.num_components &&
                        !decoder.progressive_mode && !decoder.arith_code;
  if (!is_usual) return kRefused;
  decoder.out_color_space = request.filter == kNone ? jpeg::kExtRgb : jpeg::kExtRgbx;
  library.start_decompress(&decoder);
  const int64_t wanted = request.left + rows.left();
  const Span columns(wanted, rows.columns(), decoder.output_width);
  unsigned left = columns.begin, width = columns.end - columns.begin;
  library.crop_scanline(&decoder, &left, &width);
  const int64_t first = request.top + rows.begin(), last = request.top + rows.end();
  const Span lines(first, last - first, decoder.output_height);
  if (lines.begin > 0) library.skip_scanlines(&decoder, lines.begin);
  int64_t line = decoder.output_scanline;
  while (line < last) {
    int count = 0;
    while (count < kBatch && line + count < decoder.output_height) {
      const unsigned got =
          library.read_scanlines(&decoder, rows.pointers() + count, kBatch - count);
      if (got == 0) return kRefused;
      count += got;
    }
    const int skipped = std::max<int64_t>(0, first - line);
    const int used = std::min<int64_t>(count, last - line) - skipped;
    const int row = line + skipped - request.top;
    if (used > 0) rows.take(row, used, rows.pointers() + skipped, wanted - left);
    line += count;
  }
  return errors.manager.num_warnings == 0 ? kDone : kRefused;
}

}  // namespace

extern "C" int rednet_decode_jpeg(const jpeg::Library* library, const Request* request) try {
  if (!is_valid(*request)) return kRefused;
  const uint8_t* end = request->content + request->bytes;
  const uint8_t* scan = request->bytes < 4 ? nullptr : find_scan(request->content, end);
  if (scan == nullptr || !is_only_scan(scan, end)) return kRefused;
  Errors errors;
  jpeg::Decompress decoder = {};
  decoder.err = library->std_error(&errors.manager);
  errors.manager.error_exit = escape;
  errors.manager.output_message = ignore;
  Rows rows(*request, request->width + 64);
  const Result result = decode(*library, *request, rows, decoder, errors);
  library->destroy_decompress(&decoder);
  if (result == kDone) rows.finish();
  return result;
} catch (const std::bad_alloc&) {
  return kOutOfMemory;
}
