#include "util/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

int sha256_text(const void *data, size_t size, char text[SHA256_TEXT_SIZE]) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        if (EVP_Digest(data, size, digest, &n, EVP_sha256(), NULL) != 1) {
                return error_origin(-ENOMEM); /* nothing else can fail */
        }
        for (unsigned i = 0; i < n && 2 * i + 2 < SHA256_TEXT_SIZE; i++) {
                snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
        }
        return 0;
}
